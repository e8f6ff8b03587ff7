"""Accounts and what belongs to them.

Read and changed in the database, imported from the configuration, and a picture in memory that calls are routed by.
"""
