//! What integration tests share: real servers, a store that fails as told, things made to be backed
//! up, and judges of what came back.

pub mod fault;
pub mod hooked;
pub mod kept;
pub mod seaweed;
pub mod tools;
pub mod tree;
pub mod watched;
