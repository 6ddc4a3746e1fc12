"""What a reader must know of a machine to repeat a result or a failure there: no paths and no names of users."""
