"""Other people's servers, and how each is asked."""
