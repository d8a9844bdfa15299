"""No tables. Django sends `post_migrate`, at which the rights are granted, only to apps with this module."""
