//! From a host's name to an SFTP session: name, TCP, key exchange, login, channel, greeting. Each step
//! has its own time, and all together less than an attempt is given to fall silent.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use russh::{ChannelMsg, Preferred, SshId, cipher, compression};
use tokio::io::BufReader;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::identity::Identities;
use super::known_hosts::KnownHosts;
use super::listener::{Ended, Listener};
use super::session::Session;
use super::table::{Table, Trouble};
use super::url::Location;
use super::{failure, login};
use crate::class::Class;
use crate::store::remote::{Failure, Kind};
use crate::store::settings::Settings;

/// For TCP, by address; two are tried.
const TCP_PATIENCE: Duration = Duration::from_secs(10);
const MOST_ADDRESSES: usize = 2;
/// For the key exchange.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(15);
/// From there to the session. Servers make who fails to log in wait.
const LOGIN_PATIENCE: Duration = Duration::from_secs(20);
/// When a silent server is asked whether it is there, and how often.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES: usize = 3;
/// After how long the kernel gives up a peer that does not take what is sent.
const UNSENT_MS: u32 = 60_000;
/// What a server may send before we take it: enough for 300 MB/s over 50 ms.
const WINDOW_BYTES: u32 = 16 << 20;
/// The most that russh takes in a packet.
const PACKET_BYTES: u32 = 65_535;
/// What is read from the kernel at once.
const READ_BYTES: usize = 128 << 10;

/// Opens a session. Costs some ten round trips.
pub(super) async fn connect(location: &Location, settings: &Settings) -> Result<Session, Failure> {
    let known_hosts = KnownHosts::load(location, settings)?;
    let stream = reach(location).await?;
    let table = Arc::new(Table::new());
    let config = configuration(&known_hosts);
    let listener = Listener::new(known_hosts, Arc::clone(&table));
    let handshake = client::connect_stream(
        Arc::new(config),
        BufReader::with_capacity(READ_BYTES, stream),
        listener,
    );
    let mut connection = match timeout(HANDSHAKE_PATIENCE, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(Ended::Refused(failure))) => return Err(failure),
        Ok(Err(Ended::Ssh(error))) => return Err(failure::handshake(&error, location)),
        Err(_) => return Err(silent(location, "begun no SSH", HANDSHAKE_PATIENCE)),
    };
    let settings = settings.clone();
    let loading = tokio::task::spawn_blocking(move || Identities::load(&settings));
    let identities = loading.await.map_err(|error| Failure::transient(error.to_string()))??;
    let opening = async {
        login::log_in(&mut connection, location, &identities, &table).await?;
        open(connection, location, Arc::clone(&table)).await
    };
    match timeout(LOGIN_PATIENCE, opening).await {
        Ok(outcome) => outcome,
        Err(_) => Err(silent(location, "not finished the login", LOGIN_PATIENCE)),
    }
}

/// A TCP connection.
async fn reach(location: &Location) -> Result<TcpStream, Failure> {
    let addresses = lookup_host((location.host.as_str(), location.port)).await;
    let addresses = addresses.map_err(|error| {
        nobody(format!(
            "the host name {} leads nowhere ({error}); check it in the URL, and the name server",
            location.host
        ))
    })?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses.take(MOST_ADDRESSES) {
        match timeout(TCP_PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Better connections if the kernel takes these, and connections if it does not.
                stream.set_nodelay(true).ok();
                rustix::net::sockopt::set_tcp_user_timeout(&stream, UNSENT_MS).ok();
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, "no answer for 10 s"),
        }
    }
    Err(nobody(format!(
        "cannot connect to {} ({last}); check host and port in the URL (a Storage Box listens at 23), \
         firewalls, and whether its SSH server runs",
        location.address()
    )))
}

fn nobody(text: String) -> Failure {
    Failure { kind: Kind::Place, ..Failure::transient(text) }
}

fn silent(location: &Location, what: &str, patience: Duration) -> Failure {
    let seconds = patience.as_secs();
    nobody(format!(
        "{} took the connection, but has {what} within {seconds} s; check that an SSH server listens \
         there and is not overloaded",
        location.address()
    ))
}

fn configuration(known_hosts: &KnownHosts) -> client::Config {
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!(
            "SSH-2.0-Backstay_",
            env!("CARGO_PKG_VERSION")
        ))),
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES,
        preferred: Preferred {
            key: Cow::Owned(known_hosts.preferred()),
            // Half the CPU of ChaCha20 where the processor knows AES.
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_128_GCM,
                cipher::AES_256_CTR,
                cipher::AES_128_CTR,
            ]),
            // What is stored is compressed and encrypted.
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// The channel and the greeting.
async fn open(
    connection: Handle<Listener>,
    location: &Location,
    table: Arc<Table>,
) -> Result<Session, Failure> {
    let address = location.address();
    let lost = |error: russh::Error| {
        let reason = table.ended().unwrap_or_else(|| error.to_string());
        failure::lost(&address, &reason)
    };
    let mut channel = match connection.channel_open_session().await {
        Ok(channel) => channel,
        Err(russh::Error::ChannelOpenFailure(reason)) => {
            let text = format!(
                "{address} opens no session ({}); too many may be open",
                reason.description()
            );
            return Err(Failure::answer(Kind::Place, Class::Transient, text));
        }
        Err(error) => return Err(lost(error)),
    };
    channel.request_subsystem(true, "sftp").await.map_err(lost)?;
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => break,
            Some(ChannelMsg::WindowAdjusted { .. }) => {}
            Some(ChannelMsg::Failure) => {
                let text = format!(
                    "{address} lets {} in, but offers no SFTP; enable its subsystem sftp (at a Storage \
                     Box: SSH support, or port 22)",
                    location.user
                );
                return Err(Failure::answer(Kind::Place, Class::Config, text));
            }
            _ => return Err(lost(russh::Error::Disconnect)),
        }
    }
    // What comes on the channel is read by the listener; here it would only pile up.
    let (_, channel) = channel.split();
    match Session::start(connection, channel, Arc::clone(&table)).await {
        Ok(session) if session.server.version < super::wire::VERSION => {
            let text = format!(
                "{address} speaks version {} of SFTP, and 3 is needed; update that server",
                session.server.version
            );
            Err(Failure::answer(Kind::Place, Class::Config, text))
        }
        Ok(session) => Ok(session),
        Err(Trouble::Lost(reason)) if reason.contains("login script") => {
            let text = format!("{address}: {reason}");
            Err(Failure::answer(Kind::Place, Class::Config, text))
        }
        Err(trouble) => Err(failure::of(&trouble, location, "")),
    }
}
