//! One direction of one connection: a delay line, so that what is far away need not be slow.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

use super::line::{Direction, Forwarding, LaneSettings, Line, Settings};

/// What may be on its way at a time; far more than any line here has room for.
const MOST_ON_THE_WAY_BYTES: usize = 512 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// A slow line is filled this much ahead of time, since timers are late by a millisecond.
const AHEAD: Duration = Duration::from_millis(5);
/// In how many portions a slow line takes what it carries in a second.
const PORTIONS_PER_SECOND: u64 = 100;

/// The connection is to be reset: an end reset it, or a cut did.
#[derive(Debug)]
pub(super) struct Broken;

/// What was read, and when it is to be written; nothing stands for the end.
struct Portion {
    due: Instant,
    bytes: Vec<u8>,
}

/// Passes on what comes `from` one side until its end has been passed on too.
pub(super) async fn carry(
    line: &Line,
    direction: Direction,
    from: &mut ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
) -> Result<(), Broken> {
    let mut settings = line.settings();
    let mut on_the_way = VecDeque::<Portion>::new();
    let mut on_the_way_bytes = 0;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut is_open = true;
    while is_open || !on_the_way.is_empty() {
        let now = *settings.borrow_and_update();
        let lane = now.lane(direction);
        let due = on_the_way.front().map(|portion| portion.due);
        let reads = is_open && on_the_way_bytes < MOST_ON_THE_WAY_BYTES && now.reads(direction);
        let room = lane.room();
        tokio::select! {
            _ = settings.changed() => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() && now.writes() => {
                let portion = on_the_way.pop_front().ok_or(Broken)?;
                on_the_way_bytes -= portion.bytes.len();
                deliver(line, direction, &portion.bytes, to).await?;
            }
            read = read(line, direction, lane, from, &mut buffer[..room]), if reads => {
                let bytes = &buffer[..read?];
                is_open = !bytes.is_empty();
                if !now.writes() {
                    if is_open {
                        continue;
                    }
                    return Err(Broken);
                }
                let due = line.lane(direction).lock().unwrap().take(lane, bytes.len());
                if on_the_way.is_empty() && due <= Instant::now() {
                    deliver(line, direction, bytes, to).await?;
                } else {
                    on_the_way_bytes += bytes.len();
                    on_the_way.push_back(Portion { due, bytes: bytes.to_vec() });
                }
            }
        }
    }
    Ok(())
}

/// Reads when the line has room.
async fn read(
    line: &Line,
    direction: Direction,
    lane: LaneSettings,
    from: &mut ReadHalf<'_>,
    buffer: &mut [u8],
) -> Result<usize, Broken> {
    if lane.bytes_per_second.is_some() {
        let free_at = line.lane(direction).lock().unwrap().free_at;
        sleep_until(free_at.checked_sub(AHEAD).unwrap_or(free_at)).await;
    }
    from.read(buffer).await.map_err(|_| Broken)
}

/// Writes what may pass, or the end.
async fn deliver(
    line: &Line,
    direction: Direction,
    bytes: &[u8],
    to: &mut WriteHalf<'_>,
) -> Result<(), Broken> {
    if bytes.is_empty() {
        return to.shutdown().await.map_err(|_| Broken);
    }
    let (passing, is_cut) = line.pass(direction, bytes.len());
    to.write_all(&bytes[..passing]).await.map_err(|_| Broken)?;
    if is_cut {
        line.cut();
        return Err(Broken);
    }
    Ok(())
}

impl Settings {
    fn reads(&self, direction: Direction) -> bool {
        match self.forwarding {
            Forwarding::On | Forwarding::Refused => true,
            Forwarding::Swallowed => direction == Direction::Up,
            Forwarding::Stalled => false,
        }
    }

    fn writes(&self) -> bool {
        matches!(self.forwarding, Forwarding::On | Forwarding::Refused)
    }
}

impl LaneSettings {
    /// How many bytes are read at a time.
    fn room(self) -> usize {
        let portion = self.bytes_per_second.unwrap_or(u64::MAX) / PORTIONS_PER_SECOND;
        usize::try_from(portion).unwrap_or(usize::MAX).clamp(1_000, BUFFER_BYTES)
    }
}

impl super::line::Lane {
    /// When `bytes` that come now are through and at the other end.
    fn take(&mut self, lane: LaneSettings, bytes: usize) -> Instant {
        let now = Instant::now();
        let Some(bytes_per_second) = lane.bytes_per_second else {
            return now + lane.latency;
        };
        let length = Duration::from_secs_f64(bytes as f64 / bytes_per_second as f64);
        self.free_at = self.free_at.max(now) + length;
        self.free_at + lane.latency
    }
}
