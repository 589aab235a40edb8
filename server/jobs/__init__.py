"""Work that a clock begins, not a visitor: `frontdesk retention run` from cron."""
