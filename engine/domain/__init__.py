"""What trading is made of, pure: the standard library and msgspec only."""
