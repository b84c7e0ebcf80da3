"""Where a record is carried out: today a background thread with a queue."""
