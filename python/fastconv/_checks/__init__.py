"""What everybody asks of arguments: `ops`, `nn` and `cuda` import from here, and this from none of them."""
