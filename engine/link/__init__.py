"""One connection to a venue outside, whatever it speaks: what was sent, answered and lost."""
