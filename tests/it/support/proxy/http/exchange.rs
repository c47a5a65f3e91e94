//! One connection of a client: its requests, each with what happens to it.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::super::host::connect;
use super::Shared;
use super::body::Framing;
use super::head::{Request, Response};
use super::rule::{Action, Reply};
use super::wire::{Reader, Writer, reset, wire};

/// How a connection ends.
enum End {
    /// Quietly.
    Close,
    /// At once and with an error.
    Reset,
}

/// An I/O error on one side is passed on as a reset of both.
impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Reset
    }
}

/// How far things go.
#[derive(Clone, Copy)]
struct Limits {
    upload_bytes: u64,
    download_bytes: u64,
    /// Whether the client gets the reply at all.
    replies: bool,
}

impl Limits {
    const NONE: Self = Self { upload_bytes: u64::MAX, download_bytes: u64::MAX, replies: true };
}

/// A client's connection, and the server's that belongs to it once something was passed on.
struct Exchange<'a> {
    shared: &'a Shared,
    from_client: Reader,
    to_client: Writer,
    server: Option<(Reader, Writer)>,
}

/// Serves a client until one side hangs up.
pub(super) async fn serve(shared: Arc<Shared>, client: TcpStream) {
    let (from_client, to_client) = wire(client);
    let mut exchange = Exchange { shared: &shared, from_client, to_client, server: None };
    if let End::Reset = exchange.run().await {
        reset(exchange.from_client, exchange.to_client);
        if let Some((reader, writer)) = exchange.server {
            reset(reader, writer);
        }
    }
}

impl Exchange<'_> {
    async fn run(&mut self) -> End {
        loop {
            match self.next().await {
                Ok(true) => {}
                Ok(false) => return End::Close,
                Err(end) => return end,
            }
        }
    }

    /// Serves one request; false if none came any more.
    async fn next(&mut self) -> Result<bool, End> {
        let server = self.server.as_mut();
        let server_hung_up = async {
            match server {
                Some((reader, _)) => reader.hung_up().await,
                None => std::future::pending().await,
            }
        };
        let head = tokio::select! {
            head = self.from_client.head() => head?,
            () = server_hung_up => None,
        };
        let Some(head) = head else {
            return Ok(false);
        };
        let mut request = Request::parse(head).ok_or(End::Reset)?;
        let number = self.shared.records.begin(&request);
        let action = self.shared.rules.lock().unwrap().decide(&mut request);
        let none = Limits::NONE;
        match action {
            None => self.forward(&request, number, none).await?,
            Some(Action::Answer(reply)) => self.answer(&request, number, &reply).await?,
            Some(Action::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                self.forward(&request, number, none).await?;
            }
            Some(Action::LoseReply) => {
                self.forward(&request, number, Limits { replies: false, ..none }).await?;
            }
            Some(Action::TruncateReply { after_bytes }) => {
                let limits = Limits { download_bytes: after_bytes, ..none };
                self.forward(&request, number, limits).await?;
            }
            Some(Action::ResetUpload { after_bytes }) => {
                let limits = Limits { upload_bytes: after_bytes, ..none };
                self.forward(&request, number, limits).await?;
            }
            Some(Action::BlackHole) => {
                self.drain(&request, number).await?;
                self.from_client.hung_up().await;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the request's body and forgets it.
    async fn drain(&mut self, request: &Request, number: usize) -> Result<(), End> {
        let mut framing = request.framing();
        while let Some(bytes) = self.from_client.body(&mut framing).await? {
            let count = bytes.len();
            self.from_client.consume(count);
            self.shared.records.add_upload(number, count);
        }
        Ok(())
    }

    /// Answers in the server's place.
    async fn answer(&mut self, request: &Request, number: usize, reply: &Reply) -> Result<(), End> {
        if !request.waits() {
            self.drain(request, number).await?;
        }
        let mut head =
            format!("HTTP/1.1 {} Answer\r\nContent-Length: {}\r\n", reply.status, reply.body.len());
        for (name, value) in &reply.headers {
            head = format!("{head}{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        self.shared.records.answer(number, reply.status, head.len());
        self.to_client.write(head.as_bytes()).await?;
        if request.method != "HEAD" {
            self.shared.records.add_download(number, reply.body.len());
            self.to_client.write(&reply.body).await?;
        }
        // Whether the body still comes, after a client was told not to send it, nobody knows.
        if request.waits() || request.is_last() { Err(End::Close) } else { Ok(()) }
    }

    /// Passes on a request and its reply, as far as `limits` allow. The reply may come before the
    /// request has gone.
    async fn forward(
        &mut self,
        request: &Request,
        number: usize,
        limits: Limits,
    ) -> Result<(), End> {
        if self.server.is_none() {
            self.server = connect(self.shared.upstream).await.map(wire);
        }
        let Some((from_server, to_server)) = &mut self.server else {
            return Err(End::Reset);
        };
        let shared = self.shared;
        let upload = upload(shared, number, request, limits, &mut self.from_client, to_server);
        let download = download(shared, number, request, limits, from_server, &mut self.to_client);
        tokio::try_join!(upload, download)?;
        Ok(())
    }
}

async fn upload(
    shared: &Shared,
    number: usize,
    request: &Request,
    limits: Limits,
    from: &mut Reader,
    to: &mut Writer,
) -> Result<(), End> {
    let mut is_wanted = to.write(&request.raw).await.is_ok();
    let mut framing = request.framing();
    let mut left_bytes = limits.upload_bytes;
    while let Some(bytes) = from.body(&mut framing).await? {
        let count = bytes.len();
        shared.records.add_upload(number, count);
        let passing = usize::try_from(left_bytes).unwrap_or(usize::MAX).min(count);
        // A server that has answered already may have hung up; the reply is on its way.
        is_wanted = is_wanted && to.write(&bytes[..passing]).await.is_ok();
        from.consume(count);
        if passing < count {
            return Err(End::Reset);
        }
        left_bytes -= count as u64;
    }
    if limits.upload_bytes < u64::MAX { Err(End::Reset) } else { Ok(()) }
}

async fn download(
    shared: &Shared,
    number: usize,
    request: &Request,
    limits: Limits,
    from: &mut Reader,
    to: &mut Writer,
) -> Result<(), End> {
    let head = loop {
        let head = from.head().await?.and_then(Response::parse).ok_or(End::Reset)?;
        if !head.is_interim() {
            break head;
        }
        to.write(&head.raw).await?;
    };
    if limits.replies {
        shared.records.answer(number, head.status, head.raw.len());
        to.write(&head.raw).await?;
    }
    let mut framing = head.framing(&request.method);
    let mut left_bytes = limits.download_bytes;
    while let Some(bytes) = from.body(&mut framing).await? {
        let count = bytes.len();
        let passing = usize::try_from(left_bytes).unwrap_or(usize::MAX).min(count);
        if limits.replies {
            shared.records.add_download(number, passing);
            to.write(&bytes[..passing]).await?;
        }
        from.consume(count);
        if passing < count {
            return Err(End::Close);
        }
        left_bytes -= count as u64;
    }
    if !limits.replies {
        return Err(End::Reset);
    }
    // Without a length, the end of the connection is the end of the body.
    if framing == Framing::UntilEnd { Err(End::Close) } else { Ok(()) }
}
