"""Pages of sign-in, the account menu, and the partner's customer switcher."""
