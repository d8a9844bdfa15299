"""SCIM 2.0 at `/scim/v2/`: how an organization's directory keeps its accounts and groups here (docs/scim.md).

The protocol is scim2-server's; what it reads and writes goes through `storage` to the directory's operations.
"""
