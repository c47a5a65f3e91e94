//! Which series `latest` is looked for in: one job on one host.

use crate::repo::catalog::Series;

/// Options of all commands that take `latest`.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct SeriesArgs {
    /// With latest: only snapshots of this machine
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// With latest: only snapshots of this job
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
}

impl SeriesArgs {
    /// What is wanted.
    pub(super) fn series(&self) -> Series {
        Series { host: self.host.clone(), job: self.job.clone() }
    }
}
