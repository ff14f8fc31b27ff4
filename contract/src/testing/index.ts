export { selfSigned } from './rsa-certificate.ts';
export {
  REVIEWED_SETTINGS,
  settingDifferences,
  unreviewed,
  type SettingVerdict,
} from './setting-differences.ts';
