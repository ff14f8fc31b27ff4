export { selfSigned } from './rsa-certificate.ts';
