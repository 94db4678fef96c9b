//! Handlers of certificates.

use axum::{
    Json,
    extract::{Path, State},
};

use super::{
    Api, ApiError, blocking,
    wire::{AcmeDomain, AddCertificate, CertificateEntry, LocalAuthority, RenewCertificates},
};
use crate::{control::Control, error::ControlError};

type Entries = Result<Json<Vec<CertificateEntry>>, ApiError>;

/// Does what is asked, and answers with all certificates.
async fn entries_after(
    api: Api,
    work: impl FnOnce(&Control) -> Result<(), ControlError> + Send + 'static,
) -> Entries {
    entries_of(api, move |control| {
        work(control)?;
        control.certificate_list()
    })
    .await
}

async fn entries_of(
    api: Api,
    work: impl FnOnce(&Control) -> Result<Vec<CertificateEntry>, ControlError> + Send + 'static,
) -> Entries {
    Ok(Json(blocking(move || work(&api.control)).await?))
}

pub(super) async fn list(State(api): State<Api>) -> Entries {
    entries_after(api, |_| Ok(())).await
}

pub(super) async fn add(State(api): State<Api>, Json(request): Json<AddCertificate>) -> Entries {
    entries_after(api, move |control| control.add_certificate(&request)).await
}

pub(super) async fn add_acme(State(api): State<Api>, Json(request): Json<AcmeDomain>) -> Entries {
    entries_of(api, move |control| control.add_acme_certificate(&request.domain)).await
}

pub(super) async fn renew(State(api): State<Api>, Json(request): Json<RenewCertificates>) -> Entries {
    entries_of(api, move |control| control.renew_certificates(request.which.as_deref())).await
}

pub(super) async fn remove(State(api): State<Api>, Path(which): Path<String>) -> Entries {
    entries_after(api, move |control| control.remove_certificate(&which)).await
}

pub(super) async fn authority(State(api): State<Api>) -> Result<Json<LocalAuthority>, ApiError> {
    Ok(Json(blocking(move || api.control.authority_certificate()).await?))
}
