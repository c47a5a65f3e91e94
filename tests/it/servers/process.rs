//! A server process: ends with its owner, all its children too, and comes back where it was.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::server::{Server, command, new_directory};
use crate::support::tools::tool;

/// Starts a shell that has a child in a group of its own, as sshd's sessions are.
fn shell(script: &str) -> Server {
    let directory = new_directory();
    let pids = directory.join("pids");
    let script = format!("setsid sleep 1000 & echo $! >>{0}/pids; {script}", directory.display());
    let command = command(tool("sh"), ["-c", &script]);
    Server::start("a shell", directory, command, move || pids.exists())
}

fn wait_until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_gone(pid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| status.contains("State:\tZ"))
        || !Path::new("/proc").join(pid).exists()
}

#[test]
fn ends_with_its_owner_and_with_all_its_children() {
    let server = shell("wait");
    let directory = server.directory().to_owned();
    let pids = std::fs::read_to_string(directory.join("pids")).unwrap();
    assert!(!is_gone(pids.trim()));
    drop(server);
    assert!(!directory.exists());
    wait_until(|| is_gone(pids.trim()));
}

#[test]
fn is_not_of_the_process_group_of_the_tests() {
    let server = shell("wait");
    let group = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields = stat.rsplit(") ").next().unwrap();
        let fields: Vec<String> = fields.split(' ').map(str::to_owned).collect();
        // State, parent, group.
        (fields[1].clone(), fields[2].clone())
    };
    let (_, own) = group("self");
    let pids = std::fs::read_to_string(server.directory().join("pids")).unwrap();
    let (shell, _) = group(pids.trim());
    let (supervisor, shell_group) = group(&shell);
    let (tests, supervisor_group) = group(&supervisor);
    assert_eq!(tests, std::process::id().to_string());
    assert_ne!(shell_group, own);
    assert_ne!(supervisor_group, own);
}

#[test]
fn comes_back_where_it_was() {
    let server = shell("echo alive; wait");
    std::fs::write(server.directory().join("kept"), "").unwrap();
    server.kill();
    let pids = || std::fs::read_to_string(server.directory().join("pids")).unwrap();
    wait_until(|| is_gone(pids().trim()));
    server.restart();
    wait_until(|| pids().lines().count() == 2 && server.log().lines().count() == 2);
    assert!(server.directory().join("kept").exists());
    server.kill();
    let directory = server.directory().to_owned();
    drop(server);
    assert!(!directory.exists(), "after a kill too");
}

#[test]
#[should_panic(expected = "a shell ended early:\nno such luck")]
fn shows_the_log_of_one_that_does_not_start() {
    let command = command(tool("sh"), ["-c", "echo no such luck; exit 1"]);
    Server::start("a shell", new_directory(), command, || false);
}
