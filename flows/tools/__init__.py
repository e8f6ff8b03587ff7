"""Tools that work on flows and on what calls left behind: pictures, replays, answers of web servers."""
