/** Loaded before every test file: a test may have to install a program first, and a machine may be slow. What has to be fast is shown by `bench/`. */
import { setDefaultTimeout } from 'bun:test'

setDefaultTimeout(120_000)
