"""The Kwebbl Realtime API 1.0.0 (revision 17): OAuth 2, extensions, subscriptions and their events, live calls."""
