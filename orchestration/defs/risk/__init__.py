"""Whether the value at risk holds what it promises."""
