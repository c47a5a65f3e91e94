//! The reading stage: takes requests in path order, reads small files in batches and large ones one
//! after the other, and keeps the cores busy with what was read.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::backup::flow::{ReadRequest, Stage, Task};
use crate::backup::large::{inspect, read_large};
use crate::backup::paged::{page_bytes, read_paged};
use crate::backup::small::{BATCH_BYTES, BATCH_FILES, SMALL_BYTES, read_batch, unreadable};
use crate::repo;
use crate::source::{self, Fault};
use crate::units::to_usize;

/// What the scan asks the reading stage for.
pub(super) enum Order {
    /// Read this entry.
    Read(Box<ReadRequest>),
    /// Someone waits for what was ordered: do not hold it back to fill a batch.
    Flush,
}

type Deferred = Vec<(ReadRequest, Box<dyn source::Content>)>;

struct Reader {
    stage: Stage,
    batch: Vec<ReadRequest>,
    batch_bytes: u64,
    batches: VecDeque<Task<Deferred>>,
    finishing: VecDeque<Task<()>>,
}

/// Reads until the scan is done.
pub(super) async fn run(
    stage: Stage,
    mut orders: mpsc::Receiver<Order>,
) -> Result<(), repo::Error> {
    let mut reader = Reader {
        stage,
        batch: Vec::new(),
        batch_bytes: 0,
        batches: VecDeque::new(),
        finishing: VecDeque::new(),
    };
    while let Some(order) = orders.recv().await {
        match order {
            Order::Read(request) => reader.take(*request).await?,
            Order::Flush => reader.flush().await?,
        }
        reader.collect(false).await?;
    }
    reader.flush().await?;
    reader.collect(true).await
}

impl Reader {
    async fn take(&mut self, request: ReadRequest) -> Result<(), repo::Error> {
        if request.entry.is_file() && request.entry.size_bytes > SMALL_BYTES {
            return self.read_alone(request, None).await;
        }
        self.batch_bytes += request.entry.size_bytes;
        self.batch.push(request);
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_FILES {
            self.send_batch().await?;
        }
        Ok(())
    }

    /// Sends the open batch on its way, without waiting for it.
    async fn send_batch(&mut self) -> Result<(), repo::Error> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let requests = std::mem::take(&mut self.batch);
        let bytes = to_usize(std::mem::take(&mut self.batch_bytes));
        let permit = self.stage.writer.reserve(bytes).await?;
        let stage = self.stage.clone();
        let task = async move { read_batch(&stage, requests, permit).await };
        self.batches.push_back(self.stage.spawn(task));
        Ok(())
    }

    /// Sends the open batch and sees to what batches before left over.
    async fn flush(&mut self) -> Result<(), repo::Error> {
        self.send_batch().await?;
        while let Some(batch) = self.batches.pop_front() {
            self.read_deferred(batch.join().await).await?;
        }
        Ok(())
    }

    async fn read_deferred(&mut self, deferred: Deferred) -> Result<(), repo::Error> {
        for (request, content) in deferred {
            self.read_alone(request, Some(content)).await?;
        }
        Ok(())
    }

    /// Drops what is done; at the end, waits for all.
    async fn collect(&mut self, all: bool) -> Result<(), repo::Error> {
        while self.batches.front().is_some_and(|batch| all || batch.is_finished()) {
            if let Some(batch) = self.batches.pop_front() {
                self.read_deferred(batch.join().await).await?;
            }
        }
        while self.finishing.front().is_some_and(|task| all || task.is_finished()) {
            if let Some(task) = self.finishing.pop_front() {
                task.join().await;
            }
        }
        Ok(())
    }

    /// Reads a file that is large, or must be read page by page.
    async fn read_alone(
        &mut self,
        request: ReadRequest,
        content: Option<Box<dyn source::Content>>,
    ) -> Result<(), repo::Error> {
        let files = std::sync::Arc::clone(&self.stage.files);
        let cpu = self.stage.writer.repository().world().cpu.clone();
        let open = move || {
            let opened = match content {
                Some(content) => Ok(content),
                None => files.open(&request.entry),
            };
            let opened = opened.and_then(|mut content| {
                let opened = inspect(&mut *content)?;
                Ok((content, opened))
            });
            (request, opened)
        };
        let (request, opened) = cpu.run(open).await;
        let (content, opened) = match opened {
            Ok(opened) => opened,
            Err(problem) if problem.fault == Fault::Vanished => {
                request.answer(None, Some(problem));
                return Ok(());
            }
            Err(problem) => {
                let entry = request.entry.clone();
                request.answer(Some(unreadable(entry)), Some(problem));
                return Ok(());
            }
        };
        let task = if let Some(bytes) = page_bytes(opened.cutter) {
            let rest = read_paged(&self.stage, request, content, opened, bytes).await?;
            self.stage.spawn(rest)
        } else {
            let rest = read_large(&self.stage, request, content, opened).await?;
            self.stage.spawn(rest)
        };
        self.finishing.push_back(task);
        Ok(())
    }
}
