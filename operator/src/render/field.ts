type Missing<T> = undefined extends T ? undefined : never;

/** A value of a spec together with where it stands, such as `spec.listen.port`. */
export class Field<T> {
  readonly path: string;
  readonly value: T;

  constructor(path: string, value: T) {
    this.path = path;
    this.value = value;
  }

  /** A field of this one; below what is not set, nothing is. */
  at<K extends keyof NonNullable<T> & string>(key: K): Field<NonNullable<T>[K] | Missing<T>> {
    const value = this.value === undefined || this.value === null ? undefined : this.value[key];
    return new Field(`${this.path}.${key}`, value as NonNullable<T>[K] | Missing<T>);
  }

  /** The same field in other words. */
  as<U>(convert: (value: NonNullable<T>) => U): Field<U | Missing<T>> {
    const value = this.value === undefined || this.value === null ? undefined : convert(this.value);
    return new Field(this.path, value as U | Missing<T>);
  }

  /** What is made of this field if it is set. */
  whenSet<N>(build: (field: Field<NonNullable<T>>) => N): N | undefined {
    return this.value === undefined || this.value === null
      ? undefined
      : build(new Field(this.path, this.value));
  }
}

/** The entries of a list; none of one that is not set. */
export function entriesOf<T>({ path, value }: Field<readonly T[] | undefined>): readonly Field<T>[] {
  return (value ?? []).map((entry, index) => new Field(`${path}[${index}]`, entry));
}
