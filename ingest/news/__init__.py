"""News: RSS, Atom and JSON lines in, scored stories about instruments out.

What comes is captured first, a document or a line a record (:mod:`.session`, :mod:`.http`, :mod:`.follow`),
and read by one decoder, live and from the capture (:mod:`.decoder`): parsed (:mod:`.documents`),
de-duplicated (:mod:`.seen`) and tagged (:mod:`.tagging`). What the model says of a story (:mod:`.model`,
:mod:`.lexicon`) is captured too, because a model need not say the same twice; so a replay gives the same
events without asking it.

Not covered: full texts behind links, paywalls, pictures, languages other than English (the lexicon's),
corrections (a story that comes again under its id is a duplicate, whatever it says), and WebSub.
"""
