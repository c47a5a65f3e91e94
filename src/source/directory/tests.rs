//! Directory sources on real files.
