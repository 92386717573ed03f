"""Where crystals come from, how they are stored, and how training reads them."""
