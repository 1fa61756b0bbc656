"""The daily proof that what rules raised live is what a replay by the other engine gives."""
