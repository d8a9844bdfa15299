"""The calls of the API about the organization itself."""
