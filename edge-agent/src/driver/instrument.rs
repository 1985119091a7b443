//! An instrument described by a profile, on any byte stream.
