"""What Signate withstands: hostile input through public faces."""
