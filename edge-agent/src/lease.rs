//! Who may use a device. A pure core: the time is an argument and nothing here touches hardware.

use rigwire_shared::event::{StepError, code};
use rigwire_shared::ids::Fence;
use rigwire_shared::time::Timestamp;

#[derive(Debug, Default)]
pub struct Lease {
    /// Fencing numbers only grow; a holder with a lower one was overtaken.
    highest: Option<Fence>,
    held: Option<Held>,
    /// The last one that expired. Who still works under it is late, until the hub grants it anew.
    expired: Option<Fence>,
    /// The last one that was given back. Nobody has it again.
    released: Option<Fence>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub fence: Fence,
    pub until: Timestamp,
    pub holder: String,
}

/// What a grant came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Granted {
    /// A lease that was not there, rather than a longer one.
    pub new: bool,
    /// The older lease that it ends. Its holder must be stopped before anything else is done.
    pub overtaken: Option<Held>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Released {
    pub was_held: bool,
    pub overtaken: Option<Held>,
}

impl Lease {
    pub fn grant(&mut self, held: Held) -> Result<Granted, StepError> {
        if self.released == Some(held.fence) {
            return Err(lost(format!("the lease under fencing number {} was given back", held.fence.0)));
        }
        let overtaken = self.see(held.fence)?;
        let new = self.held.as_ref().is_none_or(|old| old.fence != held.fence);
        self.held = Some(held);
        self.expired = None;
        Ok(Granted { new, overtaken })
    }

    /// Giving back what is not held changes nothing, but it cannot be granted any more.
    pub fn release(&mut self, fence: Fence) -> Result<Released, StepError> {
        let overtaken = self.see(fence)?;
        let was_held = self.held.take_if(|held| held.fence == fence).is_some();
        self.released = Some(fence);
        Ok(Released { was_held, overtaken })
    }

    /// Whether a step under this fencing number may touch the device, and the older lease that this ends.
    pub fn admit(&mut self, fence: Option<Fence>) -> Result<Option<Held>, StepError> {
        match (fence, &self.held) {
            (Some(fence), _) if self.expired == Some(fence) || self.released == Some(fence) => {
                Err(lost(format!("the lease under fencing number {} has ended", fence.0)))
            }
            // The hub may have granted it before we heard of it.
            (Some(fence), _) => self.see(fence),
            (None, None) => Ok(None),
            (None, Some(held)) => Err(lost(format!("the device is leased to {}", held.holder))),
        }
    }

    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    pub fn until(&self) -> Option<Timestamp> {
        self.held.as_ref().map(|held| held.until)
    }

    /// Takes the lease away when its time is over.
    pub fn expire(&mut self, now: Timestamp) -> Option<Held> {
        let expired = self.held.take_if(|held| held.until <= now)?;
        self.expired = Some(expired.fence);
        Some(expired)
    }

    /// Takes note of a number that the hub gave out. The lease under an older one ends.
    fn see(&mut self, fence: Fence) -> Result<Option<Held>, StepError> {
        if let Some(highest) = self.highest.filter(|highest| fence < *highest) {
            return Err(lost(format!("fencing number {} was overtaken by {}", fence.0, highest.0)));
        }
        self.highest = Some(fence);
        Ok(self.held.take_if(|held| held.fence < fence))
    }
}

fn lost(message: String) -> StepError {
    StepError { code: code::LEASE_LOST.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(fence: u64, until: i64) -> Held {
        Held { fence: Fence(fence), until: Timestamp(until), holder: "run 7".to_owned() }
    }

    fn granted(new: bool, overtaken: Option<Held>) -> Result<Granted, StepError> {
        Ok(Granted { new, overtaken })
    }

    fn released(was_held: bool) -> Result<Released, StepError> {
        Ok(Released { was_held, overtaken: None })
    }

    #[test]
    fn a_lower_fencing_number_is_refused_for_ever() {
        let mut lease = Lease::default();
        assert_eq!(lease.grant(held(5, 100)), granted(true, None));
        assert_eq!(lease.grant(held(5, 200)), granted(false, None));
        assert_eq!(lease.admit(Some(Fence(5))), Ok(None));
        assert_eq!(lease.admit(Some(Fence(6))), Ok(Some(held(5, 200))), "the grant may be under way");
        assert_eq!(lease.until(), None, "the older lease ended there");
        let refused = lease.admit(Some(Fence(5))).unwrap_err();
        assert_eq!(
            (refused.code.as_str(), refused.message.as_str()),
            ("LEASE_LOST", "fencing number 5 was overtaken by 6")
        );
        assert!(lease.grant(held(4, 300)).is_err());
        assert!(lease.release(Fence(5)).is_err());
        assert_eq!(lease.grant(held(6, 300)), granted(true, None));
        assert_eq!(lease.grant(held(7, 300)), granted(true, Some(held(6, 300))));
    }

    #[test]
    fn a_step_without_a_fencing_number_needs_a_free_device() {
        let mut lease = Lease::default();
        assert_eq!(lease.admit(None), Ok(None));
        lease.grant(held(1, 100)).unwrap();
        assert_eq!(lease.admit(None).unwrap_err().message, "the device is leased to run 7");
        assert_eq!(lease.release(Fence(1)), released(true));
        assert_eq!(lease.release(Fence(1)), released(false));
        assert_eq!(lease.admit(None), Ok(None));
    }

    #[test]
    fn a_lease_ends_with_its_time() {
        let mut lease = Lease::default();
        lease.grant(held(1, 100)).unwrap();
        assert_eq!((lease.until(), lease.expire(Timestamp(99))), (Some(Timestamp(100)), None));
        assert_eq!(lease.expire(Timestamp(100)), Some(held(1, 100)));
        assert_eq!((lease.until(), lease.expire(Timestamp(100))), (None, None));
        let late = lease.admit(Some(Fence(1))).unwrap_err();
        assert_eq!(late.message, "the lease under fencing number 1 has ended");
        assert_eq!(
            lease.grant(held(1, 300)),
            granted(true, None),
            "the hub made it longer, and we heard of it too late"
        );
        assert_eq!(lease.admit(Some(Fence(1))), Ok(None));
        assert_eq!(lease.release(Fence(1)), released(true));
        assert!(lease.admit(Some(Fence(1))).is_err());
        let late = lease.grant(held(1, 400)).unwrap_err();
        assert_eq!(late.message, "the lease under fencing number 1 was given back", "a grant that was long under way");
        assert_eq!(lease.admit(Some(Fence(2))), Ok(None), "the next one need not have been heard of");
    }

    #[test]
    fn the_end_of_a_lease_that_was_never_heard_of_ends_the_older_one() {
        let mut lease = Lease::default();
        lease.grant(held(1, 100)).unwrap();
        assert_eq!(lease.release(Fence(2)), Ok(Released { was_held: false, overtaken: Some(held(1, 100)) }));
        assert!(lease.admit(Some(Fence(1))).is_err() && lease.admit(Some(Fence(2))).is_err());
    }
}
