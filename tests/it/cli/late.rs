//! A port that opens only after a while, such as a sidecar's: where someone said for how long to try, it is
//! waited for; where nobody did, a wrong address is reported soon.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::moto::{Moto, moto};
use crate::support::server::{free_port, loopback};
use crate::support::sshd::{Kind, Sshd};

use super::{Place, program, said};

/// Longer than a first contact is tried where nobody said how long.
const LATE: Duration = Duration::from_secs(6);

/// Passes on everything that comes to `address`, from now on.
fn open_port(address: SocketAddr, upstream: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let Ok(server) = TcpStream::connect(upstream) else { continue };
            for (mut from, mut to) in
                [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
            {
                std::thread::spawn(move || {
                    drop(io::copy(&mut from, &mut to));
                    drop(to.shutdown(Shutdown::Write));
                });
            }
        }
    });
}

fn begin(directory: &Path, environment: &BTreeMap<String, String>, arguments: &[&str]) -> Child {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("backstay"));
    command.current_dir(directory).env("NO_COLOR", "1").envs(environment);
    command.args(arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

/// Opens the port when the program tries again after a while, and expects it to succeed.
fn waits_for(url: &str, environment: &BTreeMap<String, String>, at: SocketAddr, to: SocketAddr) {
    let place = Place::bare();
    let arguments = ["init", "-r", url, "--keys", "keys", "--no-probe", "--log", "debug"];
    let patient = [&arguments[..], &["--retry-for", "5m"]].concat();
    let mut child = begin(&place.path("."), environment, &patient);
    let (started, mut is_open, mut lines) = (Instant::now(), false, Vec::new());
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let is_late = line.contains("trying again") && started.elapsed() >= LATE;
        lines.push(line);
        if is_late && !is_open {
            is_open = true;
            open_port(at, to);
        }
    }
    assert!(child.wait().unwrap().success(), "{lines:#?}");
    assert!(is_open, "{lines:#?}");
}

#[test]
fn an_s3_server_whose_port_opens_late() {
    let at = loopback(free_port());
    waits_for(&Moto::url("late"), &Moto::environment_via(at), at, moto().endpoint());
}

#[test]
fn an_sftp_server_whose_port_opens_late() {
    let sshd = Sshd::start(Kind::Plain);
    let at = loopback(free_port());
    let url = format!("sftp://{}@{at}/./late", sshd.user());
    waits_for(&url, &sshd.environment_via(at), at, sshd.address());
}

#[test]
fn a_wrong_address_is_reported_soon_and_how_to_wait() {
    let place = Place::bare();
    let at = loopback(free_port());
    let mut command = program(&place.path("."));
    command.envs(Moto::environment_via(at));
    let url = Moto::url("nowhere");
    let said = said(command.args(["init", "-r", &url, "--keys", "keys", "--no-probe"]));
    said.refuses(5, &["cannot connect", "--retry-for"]);
}
