//! Tree nodes on their way into frames. Inner nodes are gathered apart from leaves: whoever compares a
//! tree with what is there now reads all of the former and few of the latter, and each frame that holds
//! one is a request.

use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use crate::repo::error::Error;
use crate::repo::id::ChunkId;
use crate::repo::reference::{ChunkRef, FRAME_LIMIT_BYTES, Frame};
use crate::repo::writer::{Content, Writer, joined, lock};
use crate::units::KIB;

/// Plaintext of nodes that is gathered into a frame.
const NODE_FRAME_BYTES: usize = 256 * KIB;

/// A frame that is being gathered.
#[derive(Debug, Default)]
struct OpenFrame {
    plain: Vec<u8>,
    chunks: Vec<(ChunkId, u32)>,
    frame: Arc<Frame>,
}

/// Frames of nodes, open ones and those on their way.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    leaves: Mutex<OpenFrame>,
    inner: Mutex<OpenFrame>,
    frames: tokio::sync::Mutex<JoinSet<Result<(), Error>>>,
}

impl Nodes {
    fn open(&self, content: Content) -> &Mutex<OpenFrame> {
        if content == Content::InnerNodes { &self.inner } else { &self.leaves }
    }
}

impl Writer {
    /// Adds a leaf or a part of a file's content and returns a reference to it, which has a place after
    /// [`Writer::flush_leaves`] at the latest.
    pub async fn leaf(self: &Arc<Self>, node: &[u8]) -> Result<ChunkRef, Error> {
        self.node(Content::Leaves, node).await
    }

    /// Adds an inner node and returns a reference to it, which has a place after
    /// [`Writer::flush_inner_nodes`] at the latest.
    pub async fn inner_node(self: &Arc<Self>, node: &[u8]) -> Result<ChunkRef, Error> {
        self.node(Content::InnerNodes, node).await
    }

    async fn node(self: &Arc<Self>, content: Content, node: &[u8]) -> Result<ChunkRef, Error> {
        let length_bytes = u32::try_from(node.len())
            .ok()
            .filter(|length| *length <= FRAME_LIMIT_BYTES)
            .ok_or_else(|| Error::Bug("a tree node of more than 16 MiB".into()))?;
        let id = self.repository.secrets().newest().chunk_id(node);
        if let Some(reference) = lock(&self.known_nodes).get(&id, length_bytes) {
            return Ok(reference);
        }
        let has_room =
            || lock(self.nodes.open(content)).plain.len() + node.len() <= NODE_FRAME_BYTES;
        if !has_room() {
            let mut frames = self.nodes.frames.lock().await;
            // Another task may have made room meanwhile.
            if !has_room() {
                self.send_nodes(content, &mut frames).await?;
            }
        }
        let mut open = lock(self.nodes.open(content));
        let reference = ChunkRef {
            frame: Arc::clone(&open.frame),
            offset_bytes: u32::try_from(open.plain.len()).unwrap_or(u32::MAX),
            length_bytes,
            id,
        };
        open.plain.extend_from_slice(node);
        open.chunks.push((id, length_bytes));
        Ok(reference)
    }

    /// Sends an open frame of nodes on its way. Whoever holds `frames` knows of every frame that was
    /// taken: one that waits for memory is in nobody's hands but theirs.
    async fn send_nodes(
        self: &Arc<Self>,
        content: Content,
        frames: &mut JoinSet<Result<(), Error>>,
    ) -> Result<(), Error> {
        let nodes = std::mem::take(&mut *lock(self.nodes.open(content)));
        if nodes.plain.is_empty() {
            return Ok(());
        }
        let permit = self.reserve(nodes.plain.len()).await?;
        let this = Arc::clone(self);
        while let Some(done) = frames.try_join_next() {
            joined(done)?;
        }
        frames.spawn(async move {
            let OpenFrame { plain, chunks, frame } = nodes;
            this.store_frame(content, frame, plain, chunks, permit).await
        });
        Ok(())
    }

    /// Waits until every leaf has a place.
    pub async fn flush_leaves(self: &Arc<Self>) -> Result<(), Error> {
        self.flush(Content::Leaves).await
    }

    /// Waits until every inner node has a place.
    pub async fn flush_inner_nodes(self: &Arc<Self>) -> Result<(), Error> {
        self.flush(Content::InnerNodes).await
    }

    async fn flush(self: &Arc<Self>, content: Content) -> Result<(), Error> {
        let mut frames = self.nodes.frames.lock().await;
        self.send_nodes(content, &mut frames).await?;
        while let Some(done) = frames.join_next().await {
            joined(done)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;
    use crate::repo::writer::testing::writer;

    /// A task whose frame waits for memory must not hide it from one that waits for all frames.
    #[tokio::test]
    async fn a_flush_waits_for_frames_that_wait_for_memory() {
        let writer = writer().await;
        let first = writer.leaf(&vec![1; 200 * KIB]).await.unwrap();
        let mut all_memory = Vec::new();
        for _ in 0..4 {
            all_memory.push(writer.reserve(usize::MAX).await.unwrap());
        }
        let node = vec![2; 100 * KIB];
        let mut second = Box::pin(writer.leaf(&node));
        assert!(poll!(&mut second).is_pending(), "the first frame is full and there is no memory");
        let mut flush = Box::pin(writer.flush_leaves());
        assert!(poll!(&mut flush).is_pending(), "the first node has no place yet");
        drop(all_memory);
        second.await.unwrap();
        flush.await.unwrap();
        assert!(first.frame.place().is_some());
    }
}
