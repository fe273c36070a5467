"""Orders over HTTP: the link to a gateway, and the edge of our own."""
