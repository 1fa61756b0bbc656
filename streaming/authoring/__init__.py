"""What an author of rules meets: the linter and its traps, tapes and cases, templates, terms, pictures."""
