//! What every kind of backing service has to answer, and who answers for it.

use dozen_model::manifest::ServiceKind;

use crate::{ServiceError, ServicePlan, ServiceRequest, external::External, sqlite::Sqlite, volume::Volume};

/// The driver of one kind of backing service.
///
/// To add a kind, write a file with its driver and name it in [`driver`].
pub trait Driver: std::fmt::Debug + Sync {
    /// The kind it drives.
    fn kind(&self) -> ServiceKind;

    /// What to make, to mount and to set for the service that is asked for.
    ///
    /// The same request gives the same plan, so a server that was killed can ask again.
    fn plan(&self, request: &ServiceRequest) -> Result<ServicePlan, ServiceError>;
}

/// The driver of `kind`, or the honest answer that this server has none yet.
pub fn driver(kind: ServiceKind) -> Result<&'static dyn Driver, ServiceError> {
    match kind {
        ServiceKind::Sqlite => Ok(&Sqlite),
        ServiceKind::Volume => Ok(&Volume),
        ServiceKind::External => Ok(&External),
        ServiceKind::Postgres | ServiceKind::Mysql | ServiceKind::Redis | ServiceKind::Smtp => {
            Err(ServiceError::NoDriver { kind })
        }
    }
}

#[cfg(test)]
mod tests {
    use dozen_model::hint::Hint as _;

    use super::*;

    #[test]
    fn each_driver_answers_for_its_own_kind() {
        for kind in [ServiceKind::Sqlite, ServiceKind::Volume, ServiceKind::External] {
            assert_eq!(driver(kind).unwrap().kind(), kind);
        }
    }

    #[test]
    fn a_kind_without_a_driver_says_so_and_how_to_attach_an_existing_one() {
        let error = driver(ServiceKind::Postgres).unwrap_err();
        assert_eq!(error.to_string(), "no driver for `postgres` on this server yet");
        let hint = error.hint().unwrap();
        assert_eq!(
            hint,
            "attach an existing one by its URL: `dozen services create external NAME --url URL`"
        );
        for kind in [ServiceKind::Mysql, ServiceKind::Redis, ServiceKind::Smtp] {
            assert_eq!(driver(kind).unwrap_err(), ServiceError::NoDriver { kind });
        }
    }
}
