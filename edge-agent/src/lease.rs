//! Who may use a device. A pure core: the time is an argument and nothing here touches hardware.

use rigwire_shared::event::{StepError, code};
use rigwire_shared::ids::Fence;
use rigwire_shared::time::Timestamp;

#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// Fencing numbers only grow; a holder with a lower one was overtaken.
    highest: Option<Fence>,
    held: Option<Held>,
    /// The last one that expired or was given back. Who still works under it is late.
    ended: Option<Fence>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) fence: Fence,
    pub(crate) until: Timestamp,
    pub(crate) holder: String,
}

impl Lease {
    /// Answers whether this is a new lease, rather than a longer one.
    pub(crate) fn grant(&mut self, held: Held) -> Result<bool, StepError> {
        self.check(held.fence)?;
        let new = self.held.as_ref().is_none_or(|old| old.fence != held.fence);
        self.held = Some(held);
        self.ended = None;
        Ok(new)
    }

    /// Answers whether it was held. Giving back what is not held changes nothing.
    pub(crate) fn release(&mut self, fence: Fence) -> Result<bool, StepError> {
        self.check(fence)?;
        let held = self.held.take_if(|held| held.fence == fence);
        if held.is_some() {
            self.ended = Some(fence);
        }
        Ok(held.is_some())
    }

    /// Whether a step under this fencing number may touch the device.
    pub(crate) fn admit(&mut self, fence: Option<Fence>) -> Result<(), StepError> {
        match (fence, &self.held) {
            (Some(fence), _) if self.ended == Some(fence) => {
                Err(lost(format!("the lease under fencing number {} has ended", fence.0)))
            }
            (Some(fence), _) => self.check(fence),
            (None, None) => Ok(()),
            (None, Some(held)) => Err(lost(format!("the device is leased to {}", held.holder))),
        }
    }

    pub(crate) fn until(&self) -> Option<Timestamp> {
        self.held.as_ref().map(|held| held.until)
    }

    /// Takes the lease away when its time is over.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Option<Held> {
        let expired = self.held.take_if(|held| held.until <= now)?;
        self.ended = Some(expired.fence);
        Some(expired)
    }

    fn check(&mut self, fence: Fence) -> Result<(), StepError> {
        if let Some(highest) = self.highest.filter(|highest| fence < *highest) {
            return Err(lost(format!("fencing number {} was overtaken by {}", fence.0, highest.0)));
        }
        self.highest = Some(fence);
        Ok(())
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

    #[test]
    fn a_lower_fencing_number_is_refused_for_ever() {
        let mut lease = Lease::default();
        assert_eq!(lease.grant(held(5, 100)), Ok(true));
        assert_eq!(lease.grant(held(5, 200)), Ok(false));
        assert_eq!(lease.admit(Some(Fence(5))), Ok(()));
        assert_eq!(lease.admit(Some(Fence(6))), Ok(()), "the hub may have granted it before we heard of it");
        let refused = lease.admit(Some(Fence(5))).unwrap_err();
        assert_eq!(
            (refused.code.as_str(), refused.message.as_str()),
            ("LEASE_LOST", "fencing number 5 was overtaken by 6")
        );
        assert!(lease.grant(held(4, 300)).is_err());
        assert!(lease.release(Fence(5)).is_err());
    }

    #[test]
    fn a_step_without_a_fencing_number_needs_a_free_device() {
        let mut lease = Lease::default();
        assert_eq!(lease.admit(None), Ok(()));
        lease.grant(held(1, 100)).unwrap();
        assert_eq!(lease.admit(None).unwrap_err().message, "the device is leased to run 7");
        assert_eq!(lease.release(Fence(1)), Ok(true));
        assert_eq!(lease.release(Fence(1)), Ok(false));
        assert_eq!(lease.admit(None), Ok(()));
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
        assert_eq!(lease.grant(held(1, 300)), Ok(true), "the hub made it longer, and we heard of it too late");
        assert_eq!(lease.admit(Some(Fence(1))), Ok(()));
        assert_eq!(lease.release(Fence(1)), Ok(true));
        assert!(lease.admit(Some(Fence(1))).is_err());
        assert_eq!(lease.admit(Some(Fence(2))), Ok(()), "the next one need not have been heard of");
    }
}
