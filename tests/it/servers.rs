//! The servers of the tests are as the tests assume: real ones have moods of their own, and a
//! suite against a server that is not what it seems proves nothing.

mod cloud;
mod process;
mod sftp;
mod through;
