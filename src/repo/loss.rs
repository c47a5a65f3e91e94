//! Telling a lost object from a repository that is out of reach: a volume that is unmounted midway leaves
//! an empty directory behind, in which every object is missing. Nothing may be given up for that.

use futures::TryStreamExt as _;

use crate::class::Class;
use crate::repo::error::Error;
use crate::repo::layout;
use crate::repo::open::Repository;
use crate::store;

impl Repository {
    /// `loss`, once it is known that the repository is still where it was; to be asked before anything is
    /// given up for it. Costs a LIST where an object is missing.
    pub(crate) async fn confirm_loss(&self, loss: Error) -> Result<Error, Error> {
        if loss.class() != Class::Missing {
            return Ok(loss);
        }
        match self.store().list(layout::CONFIG).try_next().await? {
            Some(_) => Ok(loss),
            None => Err(Error::Store(store::Error::Place {
                place: self.store().place(),
                reason: "the repository is not there any more; check whether its volume is still \
                         mounted, then run the command again"
                    .to_owned(),
                class: Class::Transient,
            })),
        }
    }
}
