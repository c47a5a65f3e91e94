//! One integration binary: linked once, and its tests share their support.

#[cfg(test)]
mod destination;
mod support;
