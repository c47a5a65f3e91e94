//! What integration tests share: real servers, and a store that fails as told.

pub mod fault;
pub mod seaweed;
pub mod tools;
