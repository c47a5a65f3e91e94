//! What the tests share: things made to be backed up, and judges of what came back.

#[cfg(test)]
pub(crate) mod tree;
