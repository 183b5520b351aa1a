"""Tools that come with the server: date and time, timers, calculator, end of the call."""
