"""Calls to be made in time: a durable queue with limits of rate and number, schedules and retries."""
