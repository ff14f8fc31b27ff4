export { casesOf, fieldOf, type Case } from './cases.ts';
export { SAMPLES } from './samples.ts';
