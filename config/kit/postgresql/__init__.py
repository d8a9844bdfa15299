"""The database engine of `settings.DATABASES`: Django's own, which looks at a kept connection instead of asking over it."""
