//! What russh tells us of a connection: the server's key, the bytes of its SFTP channel, the end. It
//! does so in the task that decrypts, so a file's bytes are put in place there and then.

use std::sync::Arc;

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelId, Disconnect};

use super::known_hosts::KnownHosts;
use super::table::Table;
use super::wire::Framer;
use crate::class::Class;
use crate::store::remote::Failure;

/// What is said of a server that ends the connection, rather than the login, when it is not content.
pub(super) const NO_WAY_IN: &str = "the server offers no further way to log in";

/// Why a connection came to nothing.
#[derive(Debug)]
pub(super) enum Ended {
    /// We do not want it.
    Refused(Failure),
    /// Something failed.
    Ssh(russh::Error),
}

impl From<russh::Error> for Ended {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

/// One connection's.
pub(super) struct Listener {
    known_hosts: KnownHosts,
    table: Arc<Table>,
    framer: Framer,
}

impl Listener {
    pub(super) fn new(known_hosts: KnownHosts, table: Arc<Table>) -> Self {
        Self { known_hosts, table, framer: Framer::default() }
    }
}

impl Drop for Listener {
    /// However the connection ends, nobody waits for ever.
    fn drop(&mut self) {
        self.table.end("the connection was closed");
    }
}

impl Handler for Listener {
    type Error = Ended;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Ended> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.known_hosts.check(key).map_err(Ended::Refused)?;
                Ok(true)
            }
            // Not asked for.
            PublicKeyOrCertificate::Certificate(_) => Err(Ended::Refused(Failure::place(
                Class::Denied,
                "the server shows a certificate, which was not asked for; do not trust it",
            ))),
        }
    }

    async fn data(
        &mut self,
        _: ChannelId,
        bytes: &[u8],
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.table.hear();
        let outcome = self.framer.push(bytes, &mut &*self.table);
        outcome.map_err(|malformed| {
            self.table.end(&malformed.to_string());
            Ended::Ssh(russh::Error::Inconsistent)
        })
    }

    async fn channel_close(&mut self, _: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.table.end("the server ended the SFTP session");
        Ok(())
    }

    async fn channel_eof(&mut self, _: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.table.end("the server ended the SFTP session");
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Ended>) -> Result<(), Self::Error> {
        let text = match reason {
            DisconnectReason::ReceivedDisconnect(info)
                if matches!(info.reason_code, Disconnect::NoMoreAuthMethodsAvailable) =>
            {
                NO_WAY_IN.to_owned()
            }
            DisconnectReason::Error(Ended::Ssh(russh::Error::NoAuthMethod)) => NO_WAY_IN.to_owned(),
            DisconnectReason::ReceivedDisconnect(info) => {
                let message: String =
                    info.message.chars().filter(|next| !next.is_control()).collect();
                format!("the server closed the connection: {message}")
            }
            DisconnectReason::Error(Ended::Ssh(russh::Error::KeepaliveTimeout)) => {
                "the server has not answered for a minute".to_owned()
            }
            DisconnectReason::Error(Ended::Ssh(russh::Error::Disconnect | russh::Error::HUP)) => {
                "the server closed the connection".to_owned()
            }
            DisconnectReason::Error(Ended::Ssh(error)) => format!("{error}"),
            DisconnectReason::Error(Ended::Refused(failure)) => failure.text,
        };
        self.table.end(&text);
        Ok(())
    }

    // No server has reason to open channels to us. An answer that is dropped is a refusal.

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }
}
