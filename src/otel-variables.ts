/**
 * What OpenTelemetry's own variables (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/) say to Penstock: whether
 * anything is to be sent, and how. Where to, with which headers and certificates, the SDK reads itself.
 */

/** See the head of this file. */
export interface Otel {
  /** OTEL_SDK_DISABLED: nothing is measured. */
  readonly disabled: boolean
}

/** @param environment as the operating system hands it over */
export function readOtel(environment: Readonly<Record<string, string | undefined>>): Otel {
  return Object.freeze({ disabled: environment.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true' })
}
