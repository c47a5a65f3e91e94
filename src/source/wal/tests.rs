//! WAL sources on real files.
