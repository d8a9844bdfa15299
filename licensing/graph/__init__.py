"""License calls in the shapes of Microsoft Graph, which the public `msgraph-sdk` client makes unchanged (product §16)."""
